"""What others reach the engine by: the desk with every verb of a client, the control socket, the HTTP door."""
