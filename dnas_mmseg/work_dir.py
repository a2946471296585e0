"""Names of the files in work dirs: of trainings and tests, of searches and of selections."""

TEST_SCORES = 'test_scores.json'
"""Scores of a test, in percent."""
SEED_SCORES = 'scores.csv'
"""Scores of the trainings of several seeds."""

PLAN_FILE = 'search.json'
"""Settings of a search or a selection, which resuming compares."""
NETWORK_FILE = 'network.py'
"""Config of the network on the user's data, which stage configs and retraining inherit."""
ARCHITECTURE_FILE = 'architecture.json'
"""Network that a stage, a search or a selection has found."""
RETRAIN_FILE = 'retrain.py'
"""Config that trains the network found."""
HISTORY_FILE = 'history.json'
"""Probabilities and decoded architecture of every epoch of a stage."""
SEARCH_REPORT = 'report/search.html'
"""Page of a search."""

PACE_FILE = 'pace.json'
"""Times of training steps, by which a selection plans."""
LEADERBOARD_FILE = 'leaderboard'
"""Trained candidates of a selection, as ``.csv`` and ``.json``."""
SELECTION_REPORT = 'report.html'
"""Page of a selection."""
RESULT_FILE = 'result.json'
"""Score of one training of a selection."""
FINAL_FOLDER = 'final'
"""Training of the winner on the whole training list."""
