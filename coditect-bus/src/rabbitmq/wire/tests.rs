//! Both ways of the mapping.
