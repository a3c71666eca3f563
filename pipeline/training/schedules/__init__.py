"""The schedules of the learning rate that come along, a file each; `training.schedule` names the file."""
