"""What stands between the pure core and ROS 2: messages, parameters, QoS, synchronisation, monitoring, node graph."""
