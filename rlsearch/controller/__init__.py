"""The controller: a masked policy and an elite rollout buffer around stable-baselines3's PPO, and its callbacks."""
