//! CODITECT: agents that give each other work and return results with nobody in between.
