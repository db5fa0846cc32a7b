"""Recordings: rosbag2 bags written, audited, repaired and read without ROS, and made into data sets."""
