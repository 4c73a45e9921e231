"""Models that choose what is labelled for them: dynamics, labels where they doubt, training."""
