//! A store of format 1 is opened and becomes one of format 2.
