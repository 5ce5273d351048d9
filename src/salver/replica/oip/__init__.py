"""Endpoints: typed methods of the living object, answered in the inference protocols' own words.

`models` knows the methods and is neutral; `rest` and what it uses translate HTTP bodies. Needs
numpy, so replicas without endpoints never import it.
"""
