"""Names of the files in the work dirs of training runs, tests, searches and selections."""

CHECK_REPORT = 'check.html'
"""Report of a check of the data."""
TEST_SCORES = 'test_scores.json'
"""Scores of a test, in percent."""
LENGTH_FILE = 'length.json'
"""Length of a training that was set by hours, which resuming keeps."""
VALIDATION_FILE = 'validation.json'
"""Last and best validation score of a training run, and the checkpoint of the best."""
SEED_SCORES = 'scores.csv'
"""Scores of training runs with several seeds."""

PLAN_FILE = 'search.json'
"""Settings of a search or a selection, compared on resuming."""
NETWORK_FILE = 'network.py'
"""Config of the network on the user's data, the base of stage and retraining configs."""
ARCHITECTURE_FILE = 'architecture.json'
"""Architecture found by a stage, a search or a selection."""
RETRAIN_FILE = 'retrain.py'
"""Config that trains the architecture found."""
HISTORY_FILE = 'history.json'
"""Probabilities and decoded architecture of every epoch of a stage."""
SEARCH_REPORT = 'report/search.html'
"""Report of a search."""

PACE_FILE = 'pace.json'
"""Measured times of training steps, for the schedule of a selection."""
LEADERBOARD_FILE = 'leaderboard'
"""Trained candidates of a selection, as ``.csv`` and ``.json``."""
CURVES_FILE = 'curves.csv'
"""Validation scores of the candidates of a selection by epoch."""
SELECTION_REPORT = 'report.html'
"""Report of a selection."""
ENSEMBLE_FILE = 'ensemble.py'
"""Config of the ensemble of finalists; its weights are next to it, ``ensemble.pth``."""
FINAL_FOLDER = 'final'
"""Training run of the winner on the whole training list."""
WINNER_FILE = 'winner.json'
"""Candidate of that training run, and its number of epochs."""
