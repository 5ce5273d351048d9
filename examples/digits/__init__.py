"""From a trained network to a service, in six steps: train.py, then a file for each."""
