"""What searches and selections share: configs of networks, plan files, durations."""
