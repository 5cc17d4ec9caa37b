//! Resilience of CODITECT: retry and timeout as pure policies and tower layers.
