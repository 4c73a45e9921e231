"""How a step follows from the gradient: optimisers by the name that `training.optimizer` gives."""
