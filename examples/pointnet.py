# SPDX-License-Identifier: Apache-2.0
"""PointNet (Qi et al. 2017, without its transforms) tells categories from their templates.

python examples/pointnet.py group2.h5 --steps 200
"""

import argparse

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mc4ad_model import CloudDataset

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("data")
parser.add_argument("--steps", type=int, default=200)
given = parser.parse_args()
torch.manual_seed(0)

train = CloudDataset(given.data, split="train", points=1024)
test = CloudDataset(given.data, split="test", points=1024)
clouds = torch.stack([item["points"] for item in train])  # [B, N, 3]
labels = torch.tensor([item["category"] for item in train])  # [B]
each_point = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 256), nn.ReLU())
whole = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, len(train.categories)))
optimiser = torch.optim.Adam([*each_point.parameters(), *whole.parameters()], 1e-3)

for step in range(given.steps):
    turns = torch.linalg.qr(torch.randn(len(clouds), 3, 3))[0]  # [B, 3, 3]; mirrors half of them
    noisy = clouds @ turns + 0.02 * torch.randn_like(clouds)
    loss = cross_entropy(whole(each_point(noisy).amax(dim=1)), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if step == 0 or step == given.steps - 1:
        print(f"step {step + 1}: cross-entropy {loss.item():.3f}")
found = whole(each_point(torch.stack([item["points"] for item in test])).amax(dim=1)).argmax(dim=1)
right = sum(int(a) == item["category"] for a, item in zip(found, test, strict=True))
print(f"{right} of {len(test)} test clouds are of the category found")
