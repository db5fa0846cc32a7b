"""ROS 2 nodes: each converts messages, calls the core and publishes what it says. One module an executable."""
