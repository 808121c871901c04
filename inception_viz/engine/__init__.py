"""Who runs the network: `local`, one owner thread per device in this process."""
