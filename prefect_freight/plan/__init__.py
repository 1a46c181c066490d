"""What is to be done, worked out from what is known. Pure: nothing here reads or writes."""
