"""Other programs that move atoms, with a model behind them.

Every file takes the package of its program when it is imported; nothing else here does.
"""
