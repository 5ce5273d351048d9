"""The loop that makes what is match what is wanted. Acts only through the Engine port."""
