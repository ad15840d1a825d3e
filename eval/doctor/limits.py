"""Where a figure becomes a fault, and why there. Nothing else in this package decides that."""

LEAST_STEPS = (
    15  # for anything about a course: three steps at each end make a median, and the noise needs a dozen
)
END_SHARE = 0.2  # of the steps: the start and the end of a run

# A figure has moved if start and end are so many standard errors apart. A dozen courses are looked at, and noise is
# seldom normal: a normal one is beyond 4 once in 16,000 looks, one with the tails of Student's t of 4 once in 60.
MOVED = 4.0
STILL = 3.0  # below this it can't be told from standing still

LENGTH_FACTOR = (
    1.5  # longer or shorter by this than at the start: the same prompts' answers do not vary so by chance
)
ENDED_ALMOST_NEVER = 0.1  # share of responses that end by themselves
ENDED_BEFORE = 0.5  # from here they did

DULL = 0.9  # share of prompts without a difference to learn from: nine in ten samples are made for nothing

# Choosing the best of n samples moves as far as log n - (n - 1) / n nats. 10 nats are the best of 60,000, which no
# reward was ever fitted to tell apart; and a tenth of a nat a token, since the small drifts of many tokens add up to
# 10 without harm.
KL_OF_RESPONSE = 10.0
KL_OF_TOKEN = 0.1
KL_OF_NOTHING = 1e-4  # nats of a response: what rounding leaves between two equal models

# Share of pairs of which the reference finds the chosen response likelier, a token. Of edited or sampled pairs that
# is about half; hardly any needs a reason.
REFERENCE_AGREES = 0.25

# At a margin of 5 Bradley-Terry gives the worse response 1 chance in 150. People agree on 3 pairs of 4.
MARGIN_OF_CERTAINTY = 5.0
ACCURACY_OF_CERTAINTY = 0.99
EARLY = 0.5  # of the run: by then it was certain, and what followed only drove the scores apart
PICTURES_COUNT = (
    0.1  # exchanged pictures should move a score by this share of the margin between responses at least
)
NIL_EFFECT = 1e-5  # nats or score, as training/utils/loop/image_effect.py

MOSTLY = 0.5  # of a run: a critic that learns alone for longer leaves too little to the policy
CLIPPED = 0.5  # share of tokens: most of an update is thrown away
RISE_OF_LOSS = 0.1  # share of the first loss: a run that ends above it has unlearned
SPIKE = 2.0  # times the first loss, in
SPIKES = 3  # steps or more: one may be an odd record
OUT_OF_NOISE = 10.0  # standard deviations of a step's noise: that far out no record takes it
# Adam moves a weight by about its rate in a step. Weights of usual models are about 0.02; a hundredth of that, all
# steps together, changes no answer.
FURTHEST_OF_ADAM = 2e-4
SPREAD_OF_NOTHING = 1e-3  # standard deviation of a rollout's rewards

TEMPLATE_JUMP = (
    2.0  # the first loss over that of the end, where a trained model reads another template than its own
)
NEAR_ITS_BEST = 0.95  # share of its own highest value from where a reward has nothing left to learn
