"""Action Images for real robots: video world-action models in closed loop on a Franka arm."""

__version__ = "0.1.0"
