"""What `demo.py` does: start the processes, kill one, and judge the outcome by the gateway's ledger."""
