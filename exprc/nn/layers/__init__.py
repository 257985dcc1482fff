"""Layers: each turns the expression of its input into the expression of its output.

`base` has the classes to build on, `network` the functions over whole networks, the other files the layers themselves.
"""

from __future__ import annotations

from exprc.nn.layers.base import Layer as Layer
from exprc.nn.layers.base import MergeLayer as MergeLayer
from exprc.nn.layers.conv import BaseConvLayer as BaseConvLayer
from exprc.nn.layers.conv import Conv2DLayer as Conv2DLayer
from exprc.nn.layers.conv import conv_output_length as conv_output_length
from exprc.nn.layers.dense import DenseLayer as DenseLayer
from exprc.nn.layers.input import InputLayer as InputLayer
from exprc.nn.layers.merge import ConcatLayer as ConcatLayer
from exprc.nn.layers.merge import ElemwiseMergeLayer as ElemwiseMergeLayer
from exprc.nn.layers.merge import ElemwiseSumLayer as ElemwiseSumLayer
from exprc.nn.layers.merge import autocrop as autocrop
from exprc.nn.layers.merge import autocrop_array_shapes as autocrop_array_shapes
from exprc.nn.layers.merge import concat as concat
from exprc.nn.layers.network import count_params as count_params
from exprc.nn.layers.network import get_all_layers as get_all_layers
from exprc.nn.layers.network import get_all_param_values as get_all_param_values
from exprc.nn.layers.network import get_all_params as get_all_params
from exprc.nn.layers.network import get_output as get_output
from exprc.nn.layers.network import get_output_shape as get_output_shape
from exprc.nn.layers.network import set_all_param_values as set_all_param_values
from exprc.nn.layers.noise import DropoutLayer as DropoutLayer
from exprc.nn.layers.noise import dropout as dropout
from exprc.nn.layers.normalization import BatchNormLayer as BatchNormLayer
from exprc.nn.layers.normalization import batch_norm as batch_norm
from exprc.nn.layers.pool import GlobalPoolLayer as GlobalPoolLayer
from exprc.nn.layers.pool import MaxPool2DLayer as MaxPool2DLayer
from exprc.nn.layers.pool import Pool2DLayer as Pool2DLayer
from exprc.nn.layers.pool import pool_output_length as pool_output_length
from exprc.nn.layers.shape import FlattenLayer as FlattenLayer
from exprc.nn.layers.shape import ReshapeLayer as ReshapeLayer
from exprc.nn.layers.shape import flatten as flatten
from exprc.nn.layers.shape import reshape as reshape
from exprc.nn.layers.special import NonlinearityLayer as NonlinearityLayer

__all__ = [
    "BaseConvLayer",
    "BatchNormLayer",
    "ConcatLayer",
    "Conv2DLayer",
    "DenseLayer",
    "DropoutLayer",
    "ElemwiseMergeLayer",
    "ElemwiseSumLayer",
    "FlattenLayer",
    "GlobalPoolLayer",
    "InputLayer",
    "Layer",
    "MaxPool2DLayer",
    "MergeLayer",
    "NonlinearityLayer",
    "Pool2DLayer",
    "ReshapeLayer",
    "autocrop",
    "autocrop_array_shapes",
    "batch_norm",
    "concat",
    "conv_output_length",
    "count_params",
    "dropout",
    "flatten",
    "get_all_layers",
    "get_all_param_values",
    "get_all_params",
    "get_output",
    "get_output_shape",
    "pool_output_length",
    "reshape",
    "set_all_param_values",
]
