"""Turn one molecule onto another by what a model sees of them."""
