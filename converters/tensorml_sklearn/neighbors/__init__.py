"""Converters for sklearn.neighbors."""

from tensorml_sklearn.neighbors import centroid as centroid
from tensorml_sklearn.neighbors import density as density
from tensorml_sklearn.neighbors import nearest as nearest
from tensorml_sklearn.neighbors import radius as radius
