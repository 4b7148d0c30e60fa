"""Meshes of the packages: closed surfaces, outward triangles, and tangents that follow the texture."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.engines.meshes import plane, sphere

MESHES = {"plane": plane(2, 1), "sphere": sphere(1, 2), "sphere once around": sphere(1, 1)}


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("name", MESHES)
def test_triangles_face_outwards_and_tangents_follow_u_and_the_textures_top(name):
    mesh = MESHES[name]
    corners = mesh.indices.reshape(-1, 3)
    points, uvs = mesh.positions[corners].astype(np.float64), mesh.uvs[corners].astype(np.float64)
    first, second = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    a, b = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    face = np.cross(first, second)
    assert np.linalg.norm(face, axis=1).min() > 1e-5
    normals, tangents = mesh.normals[corners].mean(axis=1), mesh.tangents[corners].mean(axis=1)
    assert (unit(face) * unit(normals)).sum(axis=1).min() > 0.99
    determinant = (a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1])[:, None]
    along_u = (first * b[:, 1:] - second * a[:, 1:]) / determinant
    along_v = (second * a[:, :1] - first * b[:, :1]) / determinant
    bitangents = np.cross(normals, tangents[:, :3]) * tangents[:, 3:]
    assert (unit(along_u) * unit(tangents[:, :3])).sum(axis=1).min() > 0.99
    assert (unit(-along_v) * unit(bitangents)).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("name", MESHES)
def test_vectors_have_length_one_and_are_upright(name):
    mesh = MESHES[name]
    for vectors in (mesh.normals, mesh.tangents[:, :3]):
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
    assert np.abs((mesh.normals * mesh.tangents[:, :3]).sum(axis=1)).max() < 1e-6
    assert (mesh.tangents[:, 3] == 1).all()


def test_the_textures_first_row_is_at_the_top():
    for mesh in MESHES.values():
        assert mesh.uvs[mesh.positions[:, 1].argmax(), 1] == 0
        assert mesh.uvs[mesh.positions[:, 1].argmin(), 1] == 1
    assert MESHES["sphere"].uvs[:, 0].max() == 2
