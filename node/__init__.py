"""The process: sockets, configuration, wiring, command line, administration, kernel."""
