"""prefect-freight: snapshots of versioned data repositories, shipped as plain copies."""
