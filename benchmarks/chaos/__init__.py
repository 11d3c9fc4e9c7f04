"""Everything that dies is killed under real runs; each still ends once, with the weights of an undisturbed one."""
