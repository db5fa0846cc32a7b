"""The operator's live page: what is known (pure), the 3D scene, the pictures, the web server. No ROS in here."""
