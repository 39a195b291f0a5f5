"""What is checked before anything is built: rules on what the charts render to, and what the cluster would refuse."""
