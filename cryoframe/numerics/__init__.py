"""The science: arrays in, arrays out. Import the room you need; nothing is loaded or re-exported here."""
