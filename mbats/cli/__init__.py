"""The `mbats` command, one small file a command."""
