//! Agent registry of CODITECT: records under leases, capabilities, watch, selection.
