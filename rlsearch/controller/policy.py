"""A policy for stock PPO that obeys the action mask in the observation.

The features extractor appends the mask to the features, the extractor of the two networks carries it around them,
and the action layer fills illegal logits. The mask never leaves the data path, so it holds in rollouts, ``predict``,
``evaluate_actions`` and after loading alike; nothing is stashed on the policy.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from torch import Tensor, nn
from torch.nn import functional

from rlsearch_envs.observation import ObservationLayout

ILLEGAL_LOGIT = -1e8
"""Finite, so that entropy and gradients are; its probability underflows to exactly 0."""


class FormulaFeatures(BaseFeaturesExtractor):
    """Parent and sibling one-hot, open slots and length scaled to [0, 1], then the mask.

    Of the prefix itself nothing is used: in a comparison it changed no recovery rate and cost training time.
    """

    def __init__(self, observation_space: gymnasium.Space[Any], layout: ObservationLayout) -> None:
        super().__init__(observation_space, features_dim=2 * layout.n_actions + 2 + layout.n_actions)
        self.layout = layout

    def forward(self, observations: Tensor) -> Tensor:
        """Features of shape ``[batch, 2 * n_actions + 2 + n_actions]``."""
        layout = self.layout
        relatives = observations[:, [layout.parent, layout.sibling]].long()
        one_hot = functional.one_hot(relatives, layout.n_actions).flatten(1).float()
        counts = observations[:, [layout.open_slots, layout.length]] / layout.max_length
        return torch.cat([one_hot, counts, observations[:, layout.mask]], dim=1)


class _MaskCarryingExtractor(MlpExtractor):
    """Runs the networks on the features without their mask, and hands the mask on to the action layer."""

    def __init__(self, features_dim: int, n_actions: int, **kwargs: Any) -> None:
        super().__init__(features_dim - n_actions, **kwargs)
        self.n_actions = n_actions

    def forward_actor(self, features: Tensor) -> Tensor:
        latent = self.policy_net(features[:, : -self.n_actions])
        return torch.cat([latent, features[:, -self.n_actions :]], dim=1)

    def forward_critic(self, features: Tensor) -> Tensor:
        return self.value_net(features[:, : -self.n_actions])  # type: ignore[no-any-return]


class _MaskedLinear(nn.Linear):
    """A linear layer on ``[latent, mask]`` whose output is filled where the mask is 0."""

    def forward(self, latent_and_mask: Tensor) -> Tensor:
        mask = latent_and_mask[:, -self.out_features :]
        if not mask.any(dim=1).all():
            raise ValueError("no action is legal in an observation; expected at least one")
        logits = super().forward(latent_and_mask[:, : -self.out_features])
        return logits.masked_fill(mask == 0, ILLEGAL_LOGIT)


class _MaskedCategorical(CategoricalDistribution):
    def proba_distribution_net(self, latent_dim: int) -> nn.Module:
        return _MaskedLinear(latent_dim, self.action_dim)


class MaskedPolicy(ActorCriticPolicy):
    """Actor and critic for formulas under construction.

    Args:
        layout: How the observation is laid out.
        arities: Arity of every action. At the start each arity is equally likely wherever all are legal, whatever
            the number of operators of that arity (the uniform arity prior of Petersen et al. 2021).
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Any,
        *,
        layout: ObservationLayout,
        arities: Sequence[int],
        **kwargs: Any,
    ) -> None:
        self.layout = layout
        self.arities = tuple(int(a) for a in arities)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            features_extractor_class=FormulaFeatures,
            features_extractor_kwargs={"layout": layout},
            **kwargs,
        )

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = _MaskCarryingExtractor(
            self.features_dim,
            self.layout.n_actions,
            net_arch=self.net_arch,
            activation_fn=self.activation_fn,
            device=self.device,
        )

    def _build(self, lr_schedule: Any) -> None:
        self.action_dist = _MaskedCategorical(self.layout.n_actions)
        super()._build(lr_schedule)
        # Padding, which comes first, is alone whenever it is legal.
        counts = torch.bincount(torch.tensor(self.arities[1:]))
        prior = -torch.log(counts[torch.tensor(self.arities)].float())
        with torch.no_grad():
            self.action_net.bias.copy_(prior)  # type: ignore[operator]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = super()._get_constructor_parameters()
        del parameters["features_extractor_class"], parameters["features_extractor_kwargs"]
        return {**parameters, "layout": self.layout, "arities": self.arities}
