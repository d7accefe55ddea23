"""What a run can be told: frozen dataclasses, whose fields are the flags of the command line."""
