"""Functions of functions: gradients, products, Jacobians, batches and rules of the user's own; imports emission."""
