"""An order is paid, reserved, packed and shipped; see README.md."""
