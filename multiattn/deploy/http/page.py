"""The page to try the models in a browser. A stub."""

from fastapi import APIRouter

router = APIRouter()
