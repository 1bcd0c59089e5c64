"""Language models that make their own training problems: SOAR, LADDER and SvS on the same parts.

The way through the package:

    problems.load        a benchmark file or a reasoning-gym family becomes a list of `Problem`
    problems.filtering   k samples per problem keep those never solved: hard train and hard test
    teacher              writes g data sets of n question-answer pairs from one constant prompt
    student              g*r copies of the baseline train on them, all in one batch (`policy`)
    rewards              each data set is paid the accuracy its students gained on hard train problems
    soar                 promotion, a step on the teacher, the next round; everything lands in a run folder (`runs`)
    study                all of that for every arm and seed of the paper's comparisons
    ladder, ttrl         LADDER and TTRL on the same parts: students practise on easier `variants` that the model wrote
    svs                  SvS on the same parts: problems written from correct solutions, its step and its controls
    analysis             fresh students, pass@k, diversity and quality of the problems, figures and widgets
"""
