"""What is kept on the disk: the history of jobs and their logs."""
