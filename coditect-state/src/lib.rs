//! State store of CODITECT: serializable transactions over ordered keys, leases, checkpoints, blackboard.
