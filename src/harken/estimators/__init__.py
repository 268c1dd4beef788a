"""The front door: `fit`, `predict`, `score`, `explain`, `save`, in scikit-learn's manner."""
