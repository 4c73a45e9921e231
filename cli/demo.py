"""`molequi demo`."""
def demo() -> int:
    """Show the main job."""
    return 0
