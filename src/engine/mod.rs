//! Databases, transactions, and the one commit path.
