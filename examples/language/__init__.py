"""Language models from Transformers; tiny ones, made here, unless others are named."""
