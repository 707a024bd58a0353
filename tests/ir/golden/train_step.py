def train_step(x: f32[B, 784], y: f32[B, 10]) -> f32:                        # mlp.py:9
    state.w1: f32[784, 128]
    state.b1: f32[128]
    state.w2: f32[128, 10]
    B = size(x, 0)
    with tape:
        w1: f32[784, 128] = state.w1                                         # mlp.py:11
        hidden_1: f32[B, 128] = x @ w1                                       # mlp.py:11
        b1: f32[128] = state.b1                                              # mlp.py:11
        hidden_2: f32[B, 128] = hidden_1 + b1                                # mlp.py:11
        hidden: f32[B, 128] = tanh(hidden_2)                                 # mlp.py:11
        w2: f32[128, 10] = state.w2                                          # mlp.py:12
        logits: f32[B, 10] = hidden @ w2                                     # mlp.py:12
        loss_1: f32[B, 10] = logits - y                                      # mlp.py:13
        loss_2: f32[B, 10] = square(loss_1)                                  # mlp.py:13
        loss: f32 = sum(loss_2, axis=(0, 1))                                 # mlp.py:13
    dw1, db1, dhidden = tape.gradient([loss], [state.w1, state.b1, hidden])  # mlp.py:14
    w1_1: f32[784, 128] = 0.1 * dw1                                          # mlp.py:15
    w1_2: f32[784, 128] = w1 - w1_1                                          # mlp.py:15
    state.w1 = w1_2                                                          # mlp.py:15
    return loss
