"""What the policy is moved by, token for token: a loss of its ratio to the policy that sampled, and the KL."""

from torch import Tensor

from training.ppo.experience import Experience
from training.utils.config.ppo_config import PPOConfig
from training.utils.losses.surrogates import cispo_loss, clip_loss, kl_loss, log_ratios, sapo_loss


def policy_losses(
    logps: Tensor, experience: Experience, kl_coef: float, config: PPOConfig
) -> tuple[Tensor, Tensor]:
    """Losses of response tokens, and where a clip acted, [N] each.

    Args:
        logps: of the policy as it is now, [N].
    """
    batch, advantages = experience.batch, experience.advantages
    ratio = log_ratios(
        logps, experience.old_logps, batch.response, batch.num_responses, config.ratio_level
    ).exp()
    low, high = config.cliprange, config.cliprange_high or config.cliprange
    match config.policy_loss:
        case "clip":
            losses, clipped = clip_loss(ratio, advantages, low, high)
        case "cispo":
            losses, clipped = cispo_loss(ratio, logps, advantages, low, high)
        case "sapo":
            losses, clipped = sapo_loss(ratio, advantages, config.sapo_tau_pos, config.sapo_tau_neg)
    if experience.is_weights is not None:
        losses = losses * experience.is_weights
    if config.kl_in_loss and kl_coef:
        losses = losses + kl_coef * kl_loss(logps, experience.ref_logps, ratio, config.kl_gradient)
    return losses, clipped
