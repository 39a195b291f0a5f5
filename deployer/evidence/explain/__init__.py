"""`todo-deploy explain`: a run's verdict, shown again from its record alone, without a cluster."""
