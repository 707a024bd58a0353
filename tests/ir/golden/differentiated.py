def train_step(x: f32[B, 5], y: f32[B, 2]) -> (f32, f32[5, 3]):
    state.w1: f32[5, 3]
    state.w2: f32[3, 2]
    B = size(x, 0)
    w1: f32[5, 3] = state.w1                # mlp.py:11
    hidden_1: f32[B, 3] = x @ w1            # mlp.py:11
    hidden: f32[B, 3] = tanh(hidden_1)      # mlp.py:11
    w2: f32[3, 2] = state.w2                # mlp.py:12
    logits: f32[B, 2] = hidden @ w2         # mlp.py:12
    d_logits: f32[B, 2] = logits - y        # mlp.py:13
    loss_1: f32[B, 2] = square(d_logits)    # mlp.py:13
    loss: f32 = sum(loss_1, axis=(0, 1))    # mlp.py:13
    d_hidden: f32[B, 3] = d_logits @ w2.T   # mlp.py:12
    h: f32[B, 3] = square(hidden)           # mlp.py:11
    h_1: f32[B, 3] = 1.0 - h                # mlp.py:11
    d_hidden_1: f32[B, 3] = d_hidden * h_1  # mlp.py:11
    dw1: f32[5, 3] = x.T @ d_hidden_1       # mlp.py:11
    back: f32[5, 5] = x.T @ x
    dw2: f32[3, 2] = hidden.T @ d_logits    # mlp.py:12
    w2_1: f32[3, 2] = 0.001 * dw2           # mlp.py:15
    w2_2: f32[3, 2] = w2 - w2_1             # mlp.py:15
    state.w2 = w2_2                         # mlp.py:15
    return loss, dw1
