"""The digital twin's session: plan, making, truth folder, files as acquisition software lays and lands them."""
